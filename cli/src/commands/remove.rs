//! `om free` and `om destroy`.

use std::io::{IsTerminal as _, Write as _};

use om_api::v1::{DestroyRequest, DestroyResponse, FreeRequest, FreeResponse};

use super::{Context, follow};
use crate::args::{Destroy, Format, Free};
use crate::connect::{request_id, services};
use crate::failure::{Failure, Result};
use crate::output;
use crate::output::shapes::Removed;

pub(super) async fn free(mut context: Context, args: Free) -> Result<()> {
    check_one(args.if_revision, &args.services)?;
    let mut removal = Removal::new("freed");
    for name in args.services {
        let request = FreeRequest { name, request_id: request_id(), if_revision: args.if_revision };
        let call = |channel, request| async move { services(channel).free(request).await };
        let answer: Result<FreeResponse> = context.client.call(&request, call).await;
        let answer = answer.map(|answer| Removed {
            name: request.name.clone(),
            revision: answer.revision,
            done: true,
        });
        removal.note(&context, &request.name, answer)?;
    }
    removal.end(&context)
}

pub(super) async fn destroy(mut context: Context, args: Destroy) -> Result<()> {
    check_one(args.if_revision, &args.services)?;
    if !args.yes {
        confirm(&args.services).await?;
    }
    let mut removal = Removal::new("destroyed");
    for name in args.services {
        let answer = destroy_one(&mut context, &name, args.if_revision).await;
        removal.note(&context, &name, answer)?;
    }
    removal.end(&context)
}

async fn destroy_one(context: &mut Context, name: &str, if_revision: Option<u64>) -> Result<Removed> {
    let request =
        DestroyRequest { name: name.to_owned(), request_id: request_id(), if_revision, ..Default::default() };
    let call = |channel, request| async move { services(channel).destroy(request).await };
    let answer: DestroyResponse = context.client.call(&request, call).await?;
    if !answer.done {
        let for_people = context.out.is_for_people();
        follow::until_gone(&mut context.client, name, answer.revision, &answer.message, for_people).await?;
    }
    Ok(Removed { name: name.to_owned(), revision: answer.revision, done: true })
}

fn check_one(if_revision: Option<u64>, names: &[String]) -> Result<()> {
    if if_revision.is_some() && names.len() > 1 {
        let text = format!("--if-revision speaks of one service, and {} are given", names.len());
        return Err(Failure::usage(text));
    }
    Ok(())
}

async fn confirm(names: &[String]) -> Result<()> {
    let all = names.join(", ");
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "destroying {all} needs a yes, and there is no terminal to ask on"
        ))
        .hint("say it with --yes"));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "Destroy {}, with all that belongs to it? [y/N] ", output::text::clean(&all));
    let _ = stderr.flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    match answer.await {
        Ok(Ok(line)) if matches!(line.trim().to_lowercase().as_str(), "y" | "yes") => Ok(()),
        _ => Err(Failure::new(crate::failure::Exit::Failed, "NOT_CONFIRMED", "nothing was destroyed")),
    }
}

/// Several services, one after another: one that fails does not keep the others.
struct Removal {
    verb: &'static str,
    done: Vec<Removed>,
    failed: Option<Failure>,
}

impl Removal {
    fn new(verb: &'static str) -> Self {
        Self { verb, done: Vec::new(), failed: None }
    }

    fn note(&mut self, context: &Context, name: &str, answer: Result<Removed>) -> Result<()> {
        match answer {
            Ok(removed) => {
                if context.out.format() == Format::Table {
                    output::write(format!("{} {}\n", output::text::clean(name), self.verb).as_bytes())?;
                }
                self.done.push(removed);
            }
            Err(failure) => {
                let fatal = !failure.is_of_one_service();
                if let Some(earlier) = self.failed.replace(failure.about(name)) {
                    let later = self.failed.replace(earlier);
                    if let Some(later) = later {
                        output::failure(&later, context.out.format());
                    }
                }
                if fatal {
                    return Err(self.give_up(context));
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, context: &Context) -> Failure {
        match std::mem::replace(self, Self::new("")).end(context) {
            Err(failure) => failure,
            Ok(()) => Failure::protocol("ended without a reason"),
        }
    }

    fn end(self, context: &Context) -> Result<()> {
        if context.out.format() != Format::Table {
            context.out.show(&self.done, |_| String::new())?;
        }
        self.failed.map_or(Ok(()), Err)
    }
}

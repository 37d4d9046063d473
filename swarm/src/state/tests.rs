//! Against a simple model: every state kept whole.

use std::collections::BTreeMap;

use om_kv::{Guard, Op, Txn, TxnAnswer};
use proptest::prelude::*;

use super::*;

/// Keys, each with its value, when it was created, and when written.
type Model = BTreeMap<String, (Vec<u8>, i64, i64)>;

/// A state, and where its pages would be.
struct World {
    state: Arc<State>,
    shelf: Shelf,
    /// As read back, by their identities.
    pages: HashMap<String, Arc<Page>>,
    /// Bytes of pages in all.
    written: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    DeletePrefix(u8),
    DeleteBefore(u8, u8),
}

fn name(key: u8) -> String {
    format!("k/{}/{:02}", key % 3, key)
}

fn range(step: &Step) -> Option<Range> {
    match step {
        Step::Put(..) => None,
        Step::Delete(key) => Some(Range::key(name(*key))),
        Step::DeletePrefix(key) => Some(Range::prefix(format!("k/{}/", key % 3))),
        Step::DeleteBefore(from, to) => Some(Range::between(name(*from), name(*to))),
    }
}

fn value(revision: i64, size: usize) -> Vec<u8> {
    let mut value = format!("{revision}:").into_bytes();
    value.resize(size.max(value.len()), b'.');
    value
}

impl World {
    fn new() -> Self {
        Self { state: Arc::new(State::new(7)), shelf: Shelf::new(), pages: HashMap::new(), written: 0 }
    }

    fn decide(&self, txn: &Txn) -> Decision {
        let nonce = u64::try_from(self.state.revision).unwrap() + 1000;
        decide(&self.state, txn, nonce, &self.shelf).unwrap()
    }

    /// Does a transaction, with all that is read back from what was written.
    fn apply(&mut self, txn: &Txn) -> TxnAnswer {
        let decision = self.decide(txn);
        if let Some(next) = decision.next {
            let plan = plan(next, &self.shelf).unwrap();
            let mut made = Vec::new();
            for draft in &plan.drafts {
                let data = draft.body().to_data();
                let id = format!("page-{}", self.pages.len());
                made.push(id.clone());
                self.written += data.len();
                let body = wire::PageBody::from_data(&data).unwrap();
                self.pages.insert(id.clone(), Arc::new(Page::open(&id, body).0));
            }
            let (state, new) = plan.complete(&made);
            for (page, contents) in new {
                assert_eq!(page, self.pages[&page.id]);
                self.shelf.insert(page.id.clone(), Arc::new(contents));
            }
            self.state = Arc::new(self.reread(&state));
        }
        decision.answer
    }

    fn reread(&self, state: &State) -> State {
        let record = Record::from_label(&state.to_record().to_label()).unwrap();
        let pages = record.pages.iter().map(|id| Arc::clone(&self.pages[id])).collect();
        State::from_record(record, pages)
    }

    fn all(&self) -> Model {
        let found = self.state.read(&Range::prefix(""), &self.shelf).unwrap();
        found.kvs.into_iter().map(|kv| (kv.key, (kv.value, kv.created, kv.modified))).collect()
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..40, prop_oneof![8 => 1usize..1500, 1 => 5000usize..90_000]).prop_map(|(key, size)| Step::Put(key, size)),
        1 => (0u8..40).prop_map(Step::Delete),
        1 => (0u8..40).prop_map(Step::DeletePrefix),
        1 => (0u8..40, 0u8..40).prop_map(|(from, to)| Step::DeleteBefore(from, to)),
    ]
}

fn model_apply(model: &mut Model, step: &Step, revision: i64) -> usize {
    if let Step::Put(key, size) = step {
        let created = model.get(&name(*key)).map_or(revision, |(_, created, _)| *created);
        model.insert(name(*key), (value(revision, *size), created, revision));
        return 1;
    }
    let span = Span::of(&range(step).unwrap());
    let before = model.len();
    model.retain(|key, _| !span.contains(key));
    before - model.len()
}

fn txn_of(step: &Step, revision: i64) -> Txn {
    match step {
        Step::Put(key, size) => Txn::new().then(Op::put(name(*key), value(revision, *size))),
        step => Txn::new().then(Op::Delete(range(step).unwrap())),
    }
}

/// What a watcher that takes in these changes has.
fn follow(model: &mut Model, changes: &[Change<'_>], shelf: &Shelf) {
    for change in changes {
        match change {
            Change::Put(hit) => {
                let value = hit.value(shelf, &mut Needs::default()).unwrap();
                let mark = hit.mark;
                model.insert(hit.key.to_owned(), (value.to_vec(), mark.created, mark.modified));
            }
            Change::Delete(key, _) => {
                assert!(model.remove(*key).is_some(), "{key} was not there");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_as_if_all_were_kept_whole(steps in prop::collection::vec(step(), 1..150), stride in 1usize..20) {
        let mut world = World::new();
        let mut model = Model::new();
        let mut followed = (Arc::clone(&world.state), Model::new());
        for (number, step) in steps.iter().enumerate() {
            let next = world.state.revision + 1;
            let touched = model_apply(&mut model, step, next);
            let answer = world.apply(&txn_of(step, next));
            prop_assert_eq!(answer.header.revision, if touched > 0 { next } else { next - 1 });
            prop_assert_eq!(&world.all(), &model);
            let movable: usize = world.state.fresh.values().map(|fresh| fresh.value.len()).sum();
            prop_assert!(movable <= 16 * 1024, "the record stays small");
            if number % stride == 0 {
                let all = Span::prefix("");
                let changes = changes(Some(&followed.0), &world.state, 0, &all).unwrap();
                prop_assert!(changes.is_sorted_by_key(Change::revision));
                prop_assert!(changes.iter().all(|change| change.revision() > followed.0.revision));
                follow(&mut followed.1, &changes, &world.shelf);
                prop_assert_eq!(&followed.1, &model);
                followed.0 = Arc::clone(&world.state);
            }
        }
    }

    #[test]
    fn what_is_told_without_the_state_from_before_is_whole_or_refused(
        steps in prop::collection::vec(step(), 1..60), cut in 0usize..60,
    ) {
        let mut world = World::new();
        let mut model = Model::new();
        let mut before = None;
        for (number, step) in steps.iter().enumerate() {
            if number == cut {
                before = Some((world.state.revision, model.clone()));
            }
            model_apply(&mut model, step, world.state.revision + 1);
            world.apply(&txn_of(step, world.state.revision + 1));
        }
        let Some((revision, mut followed)) = before else { return Ok(()) };
        if let Ok(changes) = changes(None, &world.state, revision + 1, &Span::prefix("")) {
            for change in &changes {
                if let Change::Delete(key, _) = change {
                    followed.remove(*key);
                } else {
                    follow(&mut followed, std::slice::from_ref(change), &world.shelf);
                }
            }
            prop_assert_eq!(followed, model);
        }
    }
}

#[test]
fn guards_hold_or_fail_as_the_keys_are() {
    let mut world = World::new();
    world.apply(&Txn::new().then(Op::put("a", "1")));
    world.apply(&Txn::new().then(Op::put("b/1", "2")));
    world.apply(&Txn::new().then(Op::put("a", "3")));
    let key = || "a".to_owned();
    let holds = |guard: Guard| world.decide(&Txn::new().when(guard)).answer.succeeded;
    assert!(holds(Guard::modified("a", 3)) && !holds(Guard::modified("a", 1)));
    assert!(holds(Guard::Created { key: key(), revision: 1 }) && !holds(Guard::absent("a")));
    assert!(holds(Guard::absent("c")) && holds(Guard::modified("c", 0)));
    assert!(holds(Guard::Present { key: key() }) && !holds(Guard::Present { key: "c".to_owned() }));
    assert!(
        holds(Guard::Since { key: key(), revision: 3 }) && !holds(Guard::Since { key: key(), revision: 4 })
    );
    assert!(holds(Guard::Value { key: key(), value: b"3".to_vec() }));
    assert!(!holds(Guard::Value { key: key(), value: b"1".to_vec() }));
    assert!(holds(Guard::Untouched { prefix: "b/".to_owned(), since: 2 }));
    assert!(!holds(Guard::Untouched { prefix: "b/".to_owned(), since: 1 }));
}

#[test]
fn a_transaction_reads_what_it_wrote_and_answers_its_own_revision() {
    let mut world = World::new();
    world.apply(&Txn::new().then(Op::put("a", "1")).then(Op::put("b", "1")));
    let txn = Txn::new()
        .then(Op::Delete(Range::prefix("")))
        .then(Op::put("a", "2"))
        .then(Op::Get(Range::prefix("").limit(1)))
        .then(Op::Get(Range::prefix("").count_only()));
    let answer = world.apply(&txn);
    assert_eq!((answer.header.revision, &answer.answers[0]), (2, &om_kv::Answer::Delete(2)));
    let [kv] = answer.found(2) else { panic!("{answer:?}") };
    assert_eq!((kv.created, kv.modified, kv.value.as_slice()), (2, 2, b"2".as_slice()));
    assert!(matches!(&answer.answers[3], om_kv::Answer::Get(found) if found.count == 1));
    let nothing = world.apply(&Txn::new().then(Op::Delete(Range::key("c"))));
    assert_eq!((nothing.header.revision, world.state.revision), (2, 2), "nothing was written");
    let twice = Txn::new().then(Op::put("a", "1")).then(Op::put("a", "2"));
    let twice = decide(&world.state, &twice, 1, &world.shelf);
    assert!(matches!(twice, Err(Unfit::Twice(key)) if key == "a"));
}

#[test]
fn the_writers_of_the_last_revisions_are_known() {
    let mut world = World::new();
    for _ in 0..40 {
        world.apply(&Txn::new().then(Op::put("a", "1")));
    }
    assert_eq!(world.state.nonce_of(40), Some(1039));
    assert_eq!(world.state.nonce_of(9), Some(1008));
    assert_eq!((world.state.nonce_of(8), world.state.nonce_of(41)), (None, None));
}

#[test]
fn the_thousandth_write_is_no_larger_than_the_hundredth() {
    let mut world = World::new();
    for number in 0..16 {
        let large = vec![number; 600_000];
        world.apply(&Txn::new().then(Op::put(format!("base/{number:06}"), large)));
    }
    let mut sizes = Vec::new();
    for number in 0..1000 {
        let entry: Vec<u8> = (0..64).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
        let before = world.written;
        world.apply(
            &Txn::new().then(Op::put(format!("journal/{number:020}"), entry)).then(Op::put("tip", "x")),
        );
        sizes.push(world.state.to_record().to_label().len() + world.written - before);
    }
    let mean = |sizes: &[usize]| sizes.iter().sum::<usize>() / sizes.len();
    let (early, late) = (mean(&sizes[..100]), mean(&sizes[900..]));
    assert!(late < early * 3 && late < 40_000, "{early} and {late} bytes");
    assert!(world.state.pages.len() < 16 + 2 * 8 + 4, "{} pages", world.state.pages.len());
}

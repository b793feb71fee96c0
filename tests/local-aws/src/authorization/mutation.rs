//! Judges recorded requests by documents in which one statement is wrong.
//!
//! A statement is covered if a request that the right document allows is refused without the
//! statement, or with another resource in it; for a statement that denies, if a request that the
//! right document denies becomes allowed. Everything happens in memory: the requests were
//! recorded when the functions made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Judgement, Verdict, judge};
use crate::State;
use crate::policy::{Caller, Document, NotEvaluated, Request};

/// The documents of a deployed stack, and the requests that were judged by them.
#[derive(Debug)]
pub struct Record {
    /// The documents of each role, by its ARN.
    roles: BTreeMap<String, Vec<Document>>,
    /// The documents of each resource, by its ARN.
    resources: BTreeMap<String, Vec<Document>>,
    judgements: BTreeSet<Judgement>,
}

/// A statement with a mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutant {
    /// The name of the role or of the resource.
    pub owner: String,
    /// The name of the statement.
    pub sid: String,
    /// The number of the resource that is wrong, from 1; 0 if the statement is left out.
    pub mistake: usize,
}

impl Record {
    /// The documents and the judgements of this moment.
    pub fn new(state: &mut State) -> Result<Self, NotEvaluated> {
        let judgements = state.judgements.clone();
        let mut roles = BTreeMap::new();
        let mut resources = state.resource_policies.clone();
        for Judgement { request, .. } in &judgements {
            if let Caller::Role { arn, .. } = &request.caller {
                roles.insert(arn.clone(), state.iam.policies_of(arn)?);
            }
            let documents = state.policies_of_resource(&request.resource)?;
            resources.insert(request.resource.clone(), documents);
        }
        Ok(Self { roles, resources, judgements })
    }

    /// Adds a judgement of a request that no function makes.
    pub fn add(&mut self, request: Request) -> Verdict {
        let verdict = self.judge(&request, None);
        self.judgements.insert(Judgement { request, verdict });
        verdict
    }

    /// Each mutant of each statement that has a name, and whether a judgement depends on it.
    #[must_use]
    pub fn mutants(&self) -> BTreeMap<Mutant, bool> {
        let mut found: BTreeMap<Mutant, bool> = BTreeMap::new();
        for (owner, documents) in self.roles.iter().chain(&self.resources) {
            for (number, document) in documents.iter().enumerate() {
                for (nth, statement) in document.statements.iter().enumerate() {
                    if statement.sid.is_empty() {
                        continue;
                    }
                    let resources = statement.resources.iter();
                    let resources = resources.flat_map(|resources| &resources.patterns);
                    // The template fills its lists of repositories with a name that no repository can have.
                    let mistakes = (1..)
                        .zip(resources)
                        .filter(|(_, resource)| !resource.ends_with(":repository/-"));
                    let mistakes: Vec<usize> = mistakes.map(|(mistake, _)| mistake).collect();
                    for mistake in [0].into_iter().chain(mistakes) {
                        let mut documents = documents.clone();
                        mutate(&mut documents[number], nth, mistake);
                        let is_caught = self.is_caught(owner, &documents);
                        let name = owner.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
                        let sid = statement.sid.clone();
                        let mutant = Mutant { owner: name, sid, mistake };
                        *found.entry(mutant).or_default() |= is_caught;
                    }
                }
            }
        }
        found
    }

    /// Whether a judgement changes if the owner has these documents: a request that was allowed
    /// is refused, or one that was refused is allowed.
    fn is_caught(&self, owner: &str, documents: &[Document]) -> bool {
        let concerned = self.judgements.iter().filter(|Judgement { request, .. }| {
            let is_caller = matches!(&request.caller, Caller::Role { arn, .. } if arn == owner);
            is_caller || request.resource == owner
        });
        let mut requests = concerned.map(|judgement| &judgement.request);
        requests.any(|request| {
            let changed = self.judge(request, Some((owner, documents)));
            self.judge(request, None).is_allowed() != changed.is_allowed()
        })
    }

    /// Judges a request; `changed` replaces the documents of one owner.
    fn judge(&self, request: &Request, changed: Option<(&str, &[Document])>) -> Verdict {
        let documents = |all: &BTreeMap<String, Vec<Document>>, arn: &str| match changed {
            Some((owner, documents)) if owner == arn => documents.to_vec(),
            _ => all.get(arn).cloned().unwrap_or_default(),
        };
        let of_role = match &request.caller {
            Caller::Role { arn, .. } => documents(&self.roles, arn),
            Caller::Service(_) => Vec::new(),
        };
        judge(request, &of_role, &documents(&self.resources, &request.resource))
    }
}

/// Leaves a statement out, or makes one of its resources wrong.
fn mutate(document: &mut Document, nth: usize, mistake: usize) {
    let statements = Arc::make_mut(&mut document.statements);
    if mistake == 0 {
        statements.remove(nth);
        return;
    }
    if let Some(resources) = &mut statements[nth].resources {
        resources.patterns[mistake - 1].push_str("-wrong");
    }
}

//! A job's bootstrap tasks: one for each teacher and example, with their numbers and ids.

use crate::job::Job;
use crate::spec::{ServerInIds, TeacherIdentity, job_fingerprint, trace_fingerprint};
use crate::task::TaskId;
use crate::trace::{FailureIndex, LineIndex};
use std::ops::Range;

/// The tasks of a job, numbered by teacher, then by example.
pub(super) struct TaskPlan {
    pub(super) job: Job,
    teachers: Vec<TeacherIdentity>,
    /// The job's part of a trace's `trace_fingerprint`; the rest is the digest of the example's labels.
    job_fingerprint: String,
}

/// The task that made a line, as the line states it.
#[derive(Clone, Copy)]
pub(super) struct LineOrigin<'a> {
    pub(super) teacher: u32,
    pub(super) example: u32,
    pub(super) task: TaskId,
    pub(super) trace_fingerprint: &'a str,
}

impl<'a> From<&'a LineIndex> for LineOrigin<'a> {
    fn from(line: &'a LineIndex) -> LineOrigin<'a> {
        LineOrigin {
            teacher: line.teacher,
            example: line.example,
            task: line.task,
            trace_fingerprint: &line.trace_fingerprint,
        }
    }
}

impl<'a> From<&'a FailureIndex> for LineOrigin<'a> {
    fn from(failure: &'a FailureIndex) -> LineOrigin<'a> {
        LineOrigin {
            teacher: failure.teacher,
            example: failure.example,
            task: failure.task,
            trace_fingerprint: &failure.trace_fingerprint,
        }
    }
}

impl TaskPlan {
    pub(super) fn new(job: Job, server: ServerInIds) -> TaskPlan {
        TaskPlan {
            teachers: (0..job.spec.teachers.len())
                .map(|teacher| TeacherIdentity::for_teacher(&job.spec, teacher, server))
                .collect(),
            job_fingerprint: job_fingerprint(&job.spec),
            job,
        }
    }

    /// The number of tasks.
    pub(super) fn len(&self) -> usize {
        self.teachers.len() * self.job.trainset.len()
    }

    /// The task numbers of a teacher.
    pub(super) fn of_teacher(&self, teacher: usize) -> Range<usize> {
        let examples = self.job.trainset.len();
        teacher * examples..(teacher + 1) * examples
    }

    /// Teacher and example of a task number.
    pub(super) fn teacher_and_example(&self, task: usize) -> (u32, u32) {
        let examples = self.job.trainset.len();
        ((task / examples) as u32, (task % examples) as u32)
    }

    /// The id of a task number.
    pub(super) fn id(&self, task: usize) -> TaskId {
        let (teacher, example) = self.teacher_and_example(task);
        self.teachers[teacher as usize].task(
            example,
            self.job.trainset.row_digest(example as usize).unwrap_or_default(),
        )
    }

    /// The task whose outcome the line is. `None` if the line is of an earlier form of the job or its data.
    pub(super) fn task_of_outcome(&self, line: LineOrigin<'_>) -> Option<usize> {
        let task = self.task_of_answers(line)?;
        (line.trace_fingerprint == self.trace_fingerprint(line.example)).then_some(task)
    }

    /// The task whose LM calls the line recorded, even if today's trace of the same answers would differ: the metric may have changed.
    pub(super) fn task_of_answers(&self, line: LineOrigin<'_>) -> Option<usize> {
        let (teacher, example) = (line.teacher as usize, line.example as usize);
        let examples = self.job.trainset.len();
        if teacher >= self.teachers.len() || example >= examples {
            return None;
        }
        let task = teacher * examples + example;
        (self.id(task) == line.task).then_some(task)
    }

    fn trace_fingerprint(&self, example: u32) -> String {
        trace_fingerprint(
            &self.job_fingerprint,
            self.job
                .trainset
                .label_digest(example as usize)
                .unwrap_or_default(),
        )
    }
}

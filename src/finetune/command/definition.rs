//! A model that was trained by another definition of its trainer is kept, for it is paid for; and that is said.

use super::config::Trainers;
use super::workdir::WorkDir;

impl Trainers {
    /// What there is to say where the training of that key was made by another definition of the trainer than the file has now.
    pub fn other_definition(&self, trainer: &str, key: &str) -> Option<String> {
        let now = &self.trainers.get(trainer)?.definition;
        let work = WorkDir::of(self.dir(), key)?;
        let then = work.definition()?;
        (then != *now).then(|| {
            format!(
                "the model was trained by trainer {trainer} as the --trainers file defined it before; it is kept and used ({}). To train by \
                 the new definition, give it another name, such as [trainer.{trainer}-2], and name that in the job file",
                work.root().display()
            )
        })
    }
}

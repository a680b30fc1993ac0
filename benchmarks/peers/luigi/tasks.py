"""Luigi: tasks in one process with the local scheduler."""

import luigi
from work import score_new


class Done(luigi.Task):
    """A task is complete once it ran in this process: whether there is news only its query can say."""

    done = False

    def complete(self):
        return self.done


class Scores(Done):
    def run(self):
        score_new()
        self.done = True


class Nothing(Done):
    number = luigi.IntParameter()

    def run(self):
        self.done = True


class Nothings(luigi.WrapperTask):
    def requires(self):
        return [Nothing(number=number) for number in range(20)]

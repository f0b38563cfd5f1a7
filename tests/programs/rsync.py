"""rsync: copies from the mount, and into it."""

from cases import Copy

NAME = "rsync"
GROUP = "Files"
PACKAGES = ["rsync"]
VERSION = ["rsync", "--version"]
ADVICE = (
    "Exit code 23 means that files are missing in the copy; none is there by half. With "
    "`--inplace` the target is there in its full length, with zeros behind the bad page. Use "
    "`-t`, so that the next run sees that it isn't done."
)


class Rsync(Copy):
    name = "`rsync -t`"
    options = ()

    def command(self, source, target, slowly):
        speed = ["--bwlimit=4m"] if slowly else []
        return ["rsync", "-t", *self.options, *speed, source, target]


class InPlace(Rsync):
    name = "`rsync -t --inplace`"
    options = ("--inplace",)


CASES = [Rsync, InPlace]

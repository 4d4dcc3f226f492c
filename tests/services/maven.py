"""Servers in Java whose jars come from Maven Central, for tests only, and the Java that runs them.

The jars are had through ``mvn``, once, into a directory outside the repository: $CAUSAL_OTEL_TEST_CACHE, else below
$XDG_CACHE_HOME or ~/.cache. Java is $JAVA_HOME/bin/java, ``java`` on the PATH, or whatever is below /usr/lib/jvm.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from causal_otel.testing.process import ServerError, process

__all__ = ["Jars"]

_FETCH_SECONDS = 600.0
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local.test</groupId>
  <artifactId>test-server</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>%s</groupId>
      <artifactId>%s</artifactId>
      <version>%s</version>
    </dependency>
  </dependencies>
</project>
"""


class Jars(NamedTuple):
    """A server and all that it needs.

    Args:
        name: the server's, for people.
        group: Maven's group of it.
        artifact: Maven's name of it.
        version: which one.
        oldest_java: the oldest that runs it.
    """

    name: str
    group: str
    artifact: str
    version: str
    oldest_java: int

    @property
    def folder(self) -> Path:
        """Where they are, once they have been fetched."""
        cache = os.environ.get("CAUSAL_OTEL_TEST_CACHE")
        if cache is None:
            cache = f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/causal-otel-tests"
        return Path(cache) / f"{self.name.lower()}-{self.version}"

    def missing(self) -> str | None:
        """What this machine lacks to run it, as half a sentence; None: nothing."""
        if self._java() is None:
            return f"there is no Java {self.oldest_java} or later"
        if not self.folder.is_dir() and shutil.which("mvn") is None:
            return "there is no mvn to fetch it with"
        return None

    def java(self) -> str:
        """A Java that runs it.

        Raises:
            ServerError: There is none.
        """
        found = self._java()
        if found is None:
            raise ServerError(f"{self.name} {self.version} needs Java {self.oldest_java} or later.")
        return found

    def _java(self) -> str | None:
        home = os.environ.get("JAVA_HOME")
        found = [shutil.which("java", path=f"{home}/bin") if home else None, shutil.which("java")]
        found += map(str, Path("/usr/lib/jvm").glob("*/bin/java"))
        return next((java for java in found if java is not None and _java_version(java) >= self.oldest_java), None)

    def fetch(self) -> Path:
        """Their directory; they are fetched unless they are there.

        Raises:
            ServerError: They cannot be fetched.
        """
        jars = self.folder
        if jars.is_dir():
            return jars
        mvn = shutil.which("mvn")
        if mvn is None:
            raise ServerError(f"{self.name} cannot be fetched, since there is no mvn.")
        jars.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetch-") as folder:
            work = Path(folder)
            (work / "pom.xml").write_text(_POM % (self.group, self.artifact, self.version))
            command: list[str | Path] = [mvn, "--batch-mode", "--quiet", "--strict-checksums"]
            command += ["--file", work / "pom.xml", _PLUGIN, "-DincludeScope=runtime"]
            command.append(f"-DoutputDirectory={work / 'jars'}")
            with process(command, name="mvn", log=work / "mvn.log") as fetching:
                status = fetching.wait(_FETCH_SECONDS)
                if status:
                    raise ServerError(
                        f"{self.name} could not be fetched: mvn ended with status {status}.", fetching.output()
                    )
            try:
                (work / "jars").rename(jars)  # whole or not at all
            except OSError:
                if not jars.is_dir():  # another test run may have been first; its jars serve as well
                    raise
        return jars


@functools.cache
def _java_version(java: str) -> int:
    answer = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    found = re.search(r'version "(\d+)', answer.stderr)
    return 0 if found is None else int(found[1])

"""S3 and what speaks like it, by pyarrow's own client: `s3://bucket/prefix?region=...&endpoint_override=host:port&scheme=http`.

Objects cannot be renamed. A day's manifest is removed before its files are replaced, and uploaded after the last of them: a day without a
manifest is not an export.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from typing import IO, Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from pyarrow import fs

from engine.errors import InvalidInput
from engine.flows.export.manifest import NAME
from engine.flows.export.places import Draft, days_in

EXAMPLE: Final = "s3://bucket/prefix?region=eu-central-1"
OPTIONS: Final = ("region", "endpoint_override", "scheme")
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 30.0
_TRIES: Final = 3


class Bucket:
    """A prefix of a bucket. Credentials come from where AWS' own programs take them: environment, profile, or the machine's role."""

    def __init__(self, url: str) -> None:
        options, self._root = _parts(url)
        # A secret has no place in a URL that is recorded, so what is shown is what was given.
        self._name = url
        self._files = fs.S3FileSystem(
            **options,
            connect_timeout=_CONNECT_S,
            request_timeout=_ANSWER_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        )

    @property
    def name(self) -> str:
        return self._name

    def names(self, day: date) -> list[str]:
        return [found.base_name for found in self._below(self._folder(day)) if found.type == fs.FileType.File]

    def days(self) -> list[date]:
        return days_in([found.base_name for found in self._below(self._root)])

    def open(self, day: date, name: str) -> IO[bytes]:
        return cast(IO[bytes], self._files.open_input_file(f"{self._folder(day)}/{name}"))

    @contextmanager
    def draft(self, day: date, instance: str) -> Iterator[Draft]:
        """instance: unused, because nothing is written beside the day."""
        folder = self._folder(day)
        before = self.names(day)
        if NAME in before:
            self._files.delete_file(f"{folder}/{NAME}")
        draft = _BucketDraft(self._files, folder, before)
        try:
            yield draft
        except BaseException:
            for name in draft.made:
                # What stays has no manifest, and the next export of this day writes over it.
                with suppress(OSError):
                    self._files.delete_file(f"{folder}/{name}")
            raise

    def _below(self, folder: str) -> list[Any]:
        return sorted(
            self._files.get_file_info(fs.FileSelector(folder, allow_not_found=True)), key=lambda found: found.path
        )

    def _folder(self, day: date) -> str:
        return f"{self._root}/{day.isoformat()}"


class _BucketDraft:
    def __init__(self, files: Any, folder: str, before: list[str]) -> None:
        self._files = files
        self._folder = folder
        self._before = before
        self.made: list[str] = []

    def create(self, name: str) -> IO[bytes]:
        self.made.append(name)
        return cast(IO[bytes], self._files.open_output_stream(f"{self._folder}/{name}"))

    def read(self, name: str) -> IO[bytes]:
        return cast(IO[bytes], self._files.open_input_file(f"{self._folder}/{name}"))

    def commit(self, manifest: str, text: bytes) -> None:
        for name in {*self._before} - {*self.made, NAME}:
            self._files.delete_file(f"{self._folder}/{name}")
        with self.create(manifest) as file:
            file.write(text)


def _parts(url: str) -> tuple[dict[str, str], str]:
    """The options of a URL, and bucket with prefix. Raises InvalidInput."""
    try:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidInput(f"--to is not a URL: write it like {EXAMPLE}", "to") from None
    if "@" in parts.netloc:
        why = "it would be recorded: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        raise InvalidInput(f"--to has a password in its URL, where {why}", "to")
    if not parts.netloc or parts.fragment:
        raise InvalidInput(f"--to names no bucket: write it like {EXAMPLE}", "to")
    for name, value in given:
        if name not in OPTIONS or not value:
            raise InvalidInput(f"--to has an option {name!r} that is none of {', '.join(OPTIONS)}", "to")
    return dict(given), f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/")

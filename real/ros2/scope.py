"""What a managed node creates when it is configured, so that it can be destroyed when it is cleaned up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KINDS = ("publisher", "subscription", "service", "timer", "client")


class Scope:
    """Stands for a node; remembers what is created through it. Everything else is the node's."""

    def __init__(self, node: Any) -> None:
        """Begin with nothing."""
        self._node = node
        self._created: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        kind = name.removeprefix("create_")
        if kind == name or kind not in KINDS:
            return getattr(self._node, name)
        return self._remembering(kind, getattr(self._node, name))

    def close(self) -> None:
        """Destroy it all, the newest first."""
        while self._created:
            kind, entity = self._created.pop()
            getattr(self._node, f"destroy_{kind}")(entity)

    def _remembering(self, kind: str, create: Callable[..., Any]) -> Callable[..., Any]:
        def created(*arguments: Any, **options: Any) -> Any:
            entity = create(*arguments, **options)
            self._created.append((kind, entity))
            return entity

        return created

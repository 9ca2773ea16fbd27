"""What a shell may complete: names that bsc itself knows, and files of the user's beside them."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _names(known: Callable[[], Iterable[str]], *, files: bool) -> Complete:
    """Completes what is known, and paths of files where an option takes these too."""

    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What goes on as what is typed begins."""
        items = [CompletionItem(name) for name in known() if name.startswith(incomplete)]
        return [*items, CompletionItem(incomplete, type="file")] if files else items

    return complete


def _hardware() -> Iterable[str]:
    import hw_models

    return hw_models.names()


def _laws() -> Iterable[str]:
    import hw_models

    return hw_models.laws()


def _devices() -> Iterable[str]:
    import hw_models

    return hw_models.device_names()


def _passes() -> Iterable[str]:
    from passes import PASSES

    return PASSES


def _policies() -> Iterable[str]:
    from bsc.compiler.policies import PRESETS, adc_passes

    words = [word for cls in adc_passes().values() for word in cls.words]
    return dict.fromkeys([*(f"{word.name}=" if word.number else word.name for word in words), *PRESETS])


hardware_names = _names(_hardware, files=True)
law_names = _names(_laws, files=True)
device_names = _names(_devices, files=True)
pass_names = _names(_passes, files=False)
policy_names = _names(_policies, files=False)

"""The widgets of the panels and nothing else: the one place that knows ipywidgets; what they mean is in `desk`.

Each `Face` is told what to show. It holds no state of its own but what a person has chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import ipywidgets

from wsresearch.notebook import board
from wsresearch.notebook.desk import View
from wsresearch.notebook.palette import DARK, LIGHT, palette_named
from wsresearch.notebook.recent import Stretch

if TYPE_CHECKING:
    from wsresearch.notebook.form import Form

__all__ = ["ButtonsFace", "PanelFace"]

_PICTURES: Final = 3
_WIDTH: Final = "1210px"
_TOGGLE: Final = "64px"
_NAMES: Final = {"description_width": "104px"}


class _FormFields:
    """The fields of a form: as many models as all the rest of a panel, so only where something is to be filled in."""

    def __init__(self, form: Form) -> None:
        from wsresearch.notebook.form import MOST_PARAMETERS, POLICY_NAMES, RESET_EXAMPLES, VENUE_NAMES, parameters_of

        self._fields = {
            "venue": _choice("venue", VENUE_NAMES, form.venue),
            "symbols": _text("symbols", form.symbols, "btcusdt, ethusdt"),
            "directory": _text("directory", form.directory, "data/btc"),
            "url": _text("url", form.url, "empty: the venue itself"),
            "policy": _choice("policy", POLICY_NAMES, form.policy),
            "reset": ipywidgets.Combobox(
                description="reset", options=list(RESET_EXAMPLES), value=form.reset, ensure_option=False, **_looks()
            ),
            "idle_timeout": _text("idle timeout", form.idle_timeout, "seconds"),
        }
        self._parameters = [_text("", "") for _ in range(MOST_PARAMETERS)]
        self._named: tuple[str, ...] = ()
        self.offer({**parameters_of(form.policy), **form.parameters}, form.reset)
        self.box = ipywidgets.VBox(
            [
                _row(*(self._fields[name] for name in ("venue", "symbols", "directory", "url"))),
                _row(self._fields["policy"], *self._parameters),
                _row(self._fields["reset"], self._fields["idle_timeout"]),
            ]
        )

    def form(self) -> Form:
        from wsresearch.notebook.form import Form

        told = {name: str(field.value) for name, field in self._fields.items()}
        parameters = {name: field.value for name, field in zip(self._named, self._parameters, strict=False)}
        return Form(**told, parameters=parameters)

    def on_policy(self, wish: Callable[[], None]) -> None:
        self._fields["policy"].observe(lambda _change: wish(), names="value")

    def offer(self, parameters: Mapping[str, str], reset: str) -> None:
        self._named = tuple(parameters)
        for place, field in enumerate(self._parameters):
            name = self._named[place] if place < len(self._named) else ""
            field.layout.display = "" if name else "none"
            field.description, field.value = name, parameters.get(name, "")
            field.placeholder = "no limit" if name == "max_attempts" else ""
        self._fields["reset"].value = reset


class PanelFace:
    """The widgets of a capture's panel.

    Parameters
    ----------
    form
        What is filled in at first; None where nothing is to be filled in, because there is a capture.
    stretch, palette
        What is chosen at first.

    Raises
    ------
    UsageError
        If there is no such stretch or palette.
    """

    def __init__(self, form: Form | None = None, *, stretch: str = Stretch.HOUR, palette: str = LIGHT.name) -> None:
        stretch, palette = Stretch.named(stretch), palette_named(palette).name
        self._heading, self._banner, self._badge, self._counters, self._history = (_html() for _ in range(5))
        self._buttons = {
            "start": _button("Start", "play", "success", "start the collector, a process of its own"),
            "stop": _button("Stop", "stop", "danger", "close the connection, write everything down and end"),
            "reconnect": _button("Reconnect now", "refresh", "", "cut the delay short, or drop the connection"),
        }
        self._stretch = ipywidgets.ToggleButtons(
            options=list(map(str, Stretch)),
            value=str(stretch),
            tooltips=[f"the pictures show the last {each}" for each in Stretch],
            style={"button_width": _TOGGLE},
        )
        self._palette = ipywidgets.ToggleButtons(
            options=[LIGHT.name, DARK.name], value=palette, style={"button_width": _TOGGLE}
        )
        self._form = None if form is None else _FormFields(form)
        self._images = [_image() for _ in range(_PICTURES)]
        controls = _row(*self._buttons.values(), self._badge, self._stretch, self._palette)
        controls.layout.align_items = "center"
        for widget in (self._badge, self._stretch, self._palette):
            widget.layout.margin = "2px 8px"
        self.box = ipywidgets.VBox(
            [
                self._heading,
                *([] if self._form is None else [self._form.box]),
                controls,
                self._banner,
                self._counters,
                self._images[0],
                self._history,
                *self._images[1:],
            ],
            layout=ipywidgets.Layout(max_width=_WIDTH, overflow="hidden"),
        )

    def form(self) -> Form:
        """Return what is filled in."""
        assert self._form is not None, "there is a capture, so nobody asks what to start"
        return self._form.form()

    def choices(self) -> tuple[Stretch, str]:
        """Return how far back the pictures are to look, and in which palette."""
        return Stretch(self._stretch.value), self._palette.value

    def listen(self, wishes: Mapping[str, Callable[[], None]]) -> None:
        """Call what belongs to ``start``, ``stop``, ``reconnect``, ``look`` and ``policy`` when that is pressed."""
        for name, button in self._buttons.items():
            button.on_click(lambda _button, wish=wishes[name]: wish())
        for chosen in (self._stretch, self._palette):
            chosen.observe(lambda _change: wishes["look"](), names="value")
        if self._form is not None:
            self._form.on_policy(wishes["policy"])

    def offer(self, parameters: Mapping[str, str], reset: str) -> None:
        """Show the parameters of another policy, and the reset rule that goes with it."""
        if self._form is not None:
            self._form.offer(parameters, reset)

    def show(self, view: View) -> None:
        """Show everything but the pictures."""
        for widget, html in (
            (self._heading, view.heading),
            (self._banner, view.banner),
            (self._badge, view.badge),
            (self._counters, view.counters),
            (self._history, view.history),
        ):
            # The badge changes once a second; the style sheet is sent once, with the heading.
            inside = f"{board.style()}{html}" if widget is self._heading else html
            widget.value = f'<div class="wsr">{inside}</div>' if inside else ""
        if self._form is not None:
            self._form.box.layout.display = "" if view.has_form else "none"
        self._buttons["start"].disabled = not view.can_start
        for name in ("stop", "reconnect"):
            self._buttons[name].disabled = not view.can_steer

    def draw(self, place: int, png: bytes) -> None:
        """Show a picture."""
        image = self._images[place]
        image.value, image.layout.display = png, ""

    def close(self) -> None:
        """Remove every widget, its layout and its style."""
        _close(self.box)


class ButtonsFace:
    """A row of buttons with a line of text below.

    Parameters
    ----------
    labels
        Name of each button and what it says when pointed at.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._buttons = {name: _button(name, "", "warning", tip) for name, tip in labels.items()}
        self._line = _html()
        self.box = ipywidgets.VBox([_row(*self._buttons.values()), self._line])

    def listen(self, pressed: Callable[[str], None]) -> None:
        """Call ``pressed`` with the name of a button that is pressed."""
        for name, button in self._buttons.items():
            button.on_click(lambda _button, name=name: pressed(name))

    def show(self, html: str, *, enabled: bool) -> None:
        """Show a line of HTML, and whether the buttons can be pressed."""
        self._line.value = f'<div class="wsr">{board.style()}{html}</div>'
        for button in self._buttons.values():
            button.disabled = not enabled

    def close(self) -> None:
        """Remove every widget, its layout and its style."""
        _close(self.box)


def _looks() -> dict[str, Any]:
    return {"layout": ipywidgets.Layout(width="280px"), "style": _NAMES}


def _text(name: str, value: str, hint: str = "") -> Any:
    # Each keystroke is no event: what is in the fields counts when Start is pressed, which leaves the field first.
    return ipywidgets.Text(description=name, value=value, placeholder=hint, **_looks())


def _choice(name: str, options: tuple[str, ...], value: str) -> Any:
    return ipywidgets.Dropdown(description=name, options=list(options), value=value, **_looks())


def _button(name: str, icon: str, look: str, tip: str) -> Any:
    layout = ipywidgets.Layout(width="auto")
    return ipywidgets.Button(description=name, icon=icon, button_style=look, tooltip=tip, layout=layout)


def _html() -> Any:
    return ipywidgets.HTML(layout=ipywidgets.Layout(margin="0"))


def _image() -> Any:
    # Hidden until it is drawn: an image without bytes is shown as a broken one.
    layout = ipywidgets.Layout(width="100%", max_width=_WIDTH, display="none")
    return ipywidgets.Image(format="png", layout=layout)


def _row(*children: Any) -> Any:
    return ipywidgets.HBox(list(children), layout=ipywidgets.Layout(flex_flow="row wrap", overflow="visible"))


def _tree(widget: Any) -> Iterator[Any]:
    for child in getattr(widget, "children", ()):
        yield from _tree(child)
    yield widget


def _close(box: Any) -> None:
    """Close a tree of widgets; ``Widget.close`` alone would leave two models behind for each of them."""
    for widget in list(_tree(box)):
        for model in (getattr(widget, "style", None), widget.layout, widget):
            if model is not None:
                model.close()

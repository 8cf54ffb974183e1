"""Tab alone: it reaches every control of every panel, in the order in which they stand, and shows where it is."""

from typing import Any, NamedTuple

import pytest


pytestmark = pytest.mark.browser
PANELS = ("anchor", "train", "results", "recipes")
MOST = 200  # presses; more than any panel has controls
STILL = "* { transition: none !important; animation: none !important; }"  # a colour half way says nothing
# numbers what can be used in a panel, in the order of the page; returns what each is and how it looks without focus
MARK = """(panel) => {
  window.dbaLook = (e) => [e, e.parentElement, e.closest(".wrap") || e, e.closest(".block") || e].map((item) => {
    const s = getComputedStyle(item);
    return [s.outlineStyle === "none" ? "" : s.outlineWidth + s.outlineColor, s.boxShadow, s.borderColor].join("|");
  }).join("/");
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width > 1;
  const usable = ":is(input, textarea, select, button, a[href], [tabindex='0'])";
  const found = [...document.querySelectorAll(`#${panel} ${usable}`)].filter((e) => shown(e) && !e.disabled);
  return found.map((e, place) => {
    e.dataset.control = place;
    const name = [e.closest("[id^=dba_]").id, e.tagName, e.textContent.trim() || e.ariaLabel || e.type].join(" ");
    return [name.slice(0, 80), window.dbaLook(e)];
  });
}"""
FOCUS = """(panel) => {
  const e = document.activeElement;
  return [!!e.closest(`#${panel}`), e.dataset.control ?? null, window.dbaLook(e), e.outerHTML.slice(0, 120)];
}"""


# no ring on a control; in its own style, which wins over every sheet
HIDE = """(name) => {
  for (let e = document.querySelector(name); e.tagName !== "BODY"; e = e.parentElement)
    for (const property of ["outline", "box-shadow", "border-color"])
      e.style.setProperty(property, property === "border-color" ? "red" : "none", "important");
}"""


class Walk(NamedTuple):
    """What a walk with Tab through a panel has found, in words."""

    controls: list[str]
    missed: list[str]
    unseen: list[str]
    unknown: list[str]
    order: list[int]


def walk(page: Any, name: str) -> Walk:
    """Press Tab from the panel's own tab on until it leaves the panel."""
    panel = f"dba_tab_{name}"
    page.add_style_tag(content=STILL)
    page.evaluate("document.activeElement.blur()")
    controls = page.evaluate(MARK, panel)
    page.locator(f"#{panel}-button").focus()
    order, unseen, unknown = [], [], []
    outside = -MOST  # before the panel: the other tabs
    for _ in range(MOST):
        page.keyboard.press("Tab")
        inside, control, look, html = page.evaluate(FOCUS, panel)
        if not inside:
            outside += 1
            if outside > 2:  # gradio's menus with several choices take one Tab more
                break
            continue
        outside = 0
        if control is None:
            unknown.append(html)
            continue
        order.append(int(control))
        label, before = controls[int(control)]
        if look == before:
            unseen.append(label)
    missed = [label for place, (label, _) in enumerate(controls) if place not in order]
    return Walk([label for label, _ in controls], missed, unseen, unknown, order)


def open_panel(page: Any, name: str) -> None:
    """With everything unfolded."""
    panel = page.tab(name)
    folded = panel.locator("button.label-wrap:not(.open)")
    for _ in range(folded.count()):
        folded.first.click()  # which is then none of them any more
        page.page.wait_for_timeout(200)
    page.page.wait_for_timeout(1000)


@pytest.mark.parametrize("name", PANELS)
def test_tab_reaches_every_control_in_order_and_can_be_seen(visit, name):
    page = visit()
    open_panel(page, name)
    found = walk(page.page, name)
    assert len(found.controls) > 2
    assert found.missed == []
    assert found.unseen == []
    assert found.order == sorted(found.order)


def test_the_walk_notices_what_cannot_be_reached_or_seen(visit):
    page = visit()
    open_panel(page, "train")
    page.page.evaluate("document.querySelector('#dba_train_rank input').tabIndex = -1")
    page.page.evaluate(HIDE, "#dba_train_enabled input")
    found = walk(page.page, "train")
    assert [label.split()[0] for label in found.missed] == ["dba_train_rank"]
    assert [label.split()[0] for label in found.unseen] == ["dba_train_enabled"]

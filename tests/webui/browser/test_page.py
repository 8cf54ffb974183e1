"""The tab itself: languages, sizes, themes, the keyboard, and input that is wrong. Nothing is trained here."""

import json
import urllib.request

import pytest

from llamafactory_dba.webui.locales import LANGUAGES, LOCALES, message


pytestmark = pytest.mark.browser
PANELS = ("anchor", "train", "results", "recipes")
# what a panel shows of an element: its own text, or the label around its field
SHOWN = """(names) => Object.fromEntries(names.map((name) => {
  const found = document.getElementById(name);
  return [name, found ? found.textContent + (found.getAttribute("aria-label") || "") : null];
}))"""

# a server whose stream stays open after its last message, and a browser that is slow to cancel the reading of it
LATE_END = """const answered = window.fetch, cancel = ReadableStreamDefaultReader.prototype.cancel;
ReadableStreamDefaultReader.prototype.cancel = async function () {
  await new Promise((later) => setTimeout(later, 50));
  return cancel.call(this);
};
window.fetch = async (request, ...more) => {
  const answer = await answered(request, ...more);
  if (!String(request.url).includes("queue/data")) return answer;
  const reader = answer.body.getReader();
  const body = new ReadableStream({
    start: (out) => request.signal.addEventListener("abort", () => out.error(request.signal.reason)),
    pull: async (out) => {
      const part = await reader.read();
      if (!part.done) out.enqueue(part.value);
    },
  });
  return new Response(body, answer);
};"""


def test_the_tab_stands_behind_the_hosts_own_and_has_four_panels(visit):
    page = visit()
    assert [tab.inner_text() for tab in page.page.get_by_role("tab").all()][:5] == [
        "Train",
        "Evaluate & Predict",
        "Chat",
        "Export",
        "DBA",
    ]
    for name in PANELS:
        assert page.tab(name).is_visible()


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if lang != "en"])
def test_every_label_and_explanation_follows_the_language(visit, lang):
    page = visit()
    for name in PANELS:  # so that all of them are on the page
        page.tab(name)
    page.language(lang)
    wrong = []
    shown = page.page.evaluate(SHOWN, sorted(LOCALES))
    for name, text in shown.items():
        for kind in ("label", "info") if text is not None else ():
            expected = LOCALES[name][lang].get(kind)
            if expected and "".join(expected.split()) not in "".join(text.split()) and kind == "info":
                wrong.append((name, kind, text[:80]))
    assert not wrong and sum(text is not None for text in shown.values()) > 40
    page.tab("results")
    page.picture(f"language-{lang}")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_no_panel_is_wider_than_the_page_and_the_theme_is_followed(visit, width, dark):
    page = visit(width, dark=dark)
    theme = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, theme.strip("rgb()").split(","))) < 384) == dark
    for name in PANELS:
        panel = page.tab(name)
        page.page.wait_for_timeout(800)
        page.picture(f"{name}-{width}-{'dark' if dark else 'light'}")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [field.bounding_box() for field in panel.locator("input:visible, textarea:visible").all()]
        # a checkbox is small; a field to type in must have room for a number
        narrow = [box for box in boxes if box and 30 < box["width"] < 60]
        assert not narrow
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes if box)


def test_the_keyboard_alone_is_enough(visit):
    page = visit().page

    def until(found: str, key: str = "Tab", most: int = 200) -> None:
        for _ in range(most):
            if page.evaluate(f"(() => {{ const e = document.activeElement; return {found}; }})()"):
                return
            page.keyboard.press(key)
        raise AssertionError(f"not reached with {key}: {found}")

    until("e.getAttribute('role') === 'tab'")
    until("e.textContent.trim() === 'DBA'")
    page.keyboard.press("Enter")
    until("e.id === 'dba_tab_train-button'")
    page.keyboard.press("Enter")
    until("e.type === 'checkbox' && e.closest('#dba_train_enabled')")
    # what has the focus must be seen to have it
    ring = "const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.boxShadow;"
    assert page.evaluate(f"(() => {{ {ring} }})()") != "nonenone"
    page.keyboard.press("Space")
    assert page.locator("#dba_train_enabled input").is_checked()
    until("e.closest('#dba_train_boost')")
    page.keyboard.press("Control+A")
    page.keyboard.type("77")
    until("e.tagName === 'BUTTON' && e.closest('#dba_tab_train') && e.textContent.trim() === 'Preview command'")
    assert page.locator("#dba_train_boost input").input_value() == "77"
    page.keyboard.press("Shift+Tab")
    page.evaluate("document.getElementById('dba_tab_results-button').focus()")
    page.keyboard.press("Enter")
    until("e.closest('#dba_results_folder')")
    page.keyboard.press("Enter")
    page.locator("#dba_results_note").filter(has_text="un").wait_for()


def test_wrong_input_is_told_beside_the_field_before_anything_starts(visit, board):
    data = json.loads((board.folder / "data/dataset_info.json").read_text(encoding="utf-8"))
    data["torn"] = {"file_name": "torn.jsonl", "columns": {"prompt": "instruction", "response": "output"}}
    (board.folder / "data/dataset_info.json").write_text(json.dumps(data), encoding="utf-8")
    (board.folder / "data/torn.jsonl").write_text('{"instruction": "x", "outp', encoding="utf-8")
    page = visit()
    panel = page.tab("anchor")
    start = panel.get_by_role("button", name="Start")
    start.click()
    page.wait_text("dba_anchor_problem_data", r"\S")
    page.picture("wrong-no-model")
    page.choose_model()
    page.pick("dba_anchor_dataset", "torn")
    page.type("dba_anchor_rank", "0")
    page.type("dba_anchor_out", "../outside")
    start.click()
    assert "torn" in page.wait_text("dba_anchor_problem_data", "torn")
    page.wait_text("dba_anchor_problem_method", r"\S")
    page.wait_text("dba_anchor_problem_output", r"\S")
    page.picture("wrong-anchor")
    page.tab("train")
    page.page.locator("#dba_train_enabled input").check()
    page.type("dba_train_rank", "0")
    page.wait_text("dba_train_problem_main", "ank")
    page.picture("wrong-train")
    page.tab("results")
    page.type("dba_results_folder", "/etc")
    panel = page.page.locator("#dba_tab_results")
    panel.get_by_role("button", name="Find runs").click()
    page.wait_text("dba_results_note", "⚠")
    assert not board.children()
    assert urllib.request.urlopen(f"{board.url}/config").status == 200


def test_no_message_of_ours_is_shown_in_two_languages(visit):
    page = visit()
    page.tab("results")
    page.wait_text("dba_results_note", r"\S")
    page.language("zh")
    page.type("dba_results_folder", "/etc")
    page.page.locator("#dba_results_find").click()
    page.wait_text("dba_results_note", "⚠")
    assert "This path" not in page.page.locator("#dba_results_note").inner_text()
    assert message("dba_results_all", "zh")


def test_a_stream_that_gradio_has_closed_itself_is_no_error_of_the_page(visit):
    page = visit()
    page.page.add_init_script(LATE_END)
    page.open()
    page.wait_error("AbortError")
    assert not [error for error in page.own_errors() if "AbortError" in error]
    # so late, gradio's client also gives up an event that has begun since; only this test makes it so late
    page.errors.clear()


@pytest.mark.parametrize("script", ["console.error('ours')", "setTimeout(() => { throw new Error('ours'); })"])
def test_an_error_of_the_page_is_seen(visit, script):
    page = visit()
    page.page.evaluate(f"() => {{ {script} }}")
    page.wait_error("ours")
    assert [error for error in page.own_errors() if "ours" in error]
    page.errors.clear()  # or the fixture would find it

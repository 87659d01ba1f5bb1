"""What a person does on the page, in a line each."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

# Opens the page at an address, with the options of a browser's context.
Open = Callable[..., Page]
HAND_OVER = """([kind, files]) => {
    const data = new DataTransfer();
    for (const [name, text] of files) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        data.items.add(new File([bytes], name));
    }
    const given = kind === "paste" ? { clipboardData: data } : { dataTransfer: data };
    const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
    document.body.dispatchEvent(new Kind(kind, { bubbles: true, cancelable: true, ...given }));
}"""


def choose(page: Page, *files: Path) -> None:
    """Choose files in the file field."""
    page.locator("#file").set_input_files(list(files))


def hand_over(page: Page, kind: str, *files: Path) -> None:
    """Paste or drop files."""
    named = [[file.name, b64encode(file.read_bytes()).decode()] for file in files]
    page.evaluate(HAND_OVER, [kind, named])


def expect_answer(page: Page, words: str) -> None:
    """Wait for the verdict."""
    expect(page.locator("#label")).to_have_text(words)
    expect(page.locator("#answer")).to_be_visible()


def thumbnail(page: Page, name: str) -> Locator:
    """Return a picture's button in the strip."""
    return page.locator(".thumbnail", has_text=name)

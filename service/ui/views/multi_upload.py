"""Where several files are dropped together. Each is sent in a request of its own: Gradio's part for files sends all in
one, which the limit of a request then refuses as a whole."""

from typing import Any

MOST_FILES = 50
_MAX_NAME = 100

#: Sends the files, then triggers `upload` with the path of each, or none where it could not be sent.
SCRIPT = """
const drop = element.querySelector('.drop'), input = drop.querySelector('input');
const told = element.querySelector('[role=status]');
const send = async (chosen) => {
  const files = [...chosen].slice(0, Number(drop.dataset.most)), sent = [];
  for (const file of files) {
    told.textContent = `Sending file ${sent.length + 1} of ${files.length} ...`;
    const small = file.size <= Number(drop.dataset.bytes);
    const path = small ? await upload(file).then((answer) => answer.path, () => null) : null;
    sent.push({ name: file.name, path });
  }
  told.textContent = chosen.length > files.length ? `Only the first ${files.length} were taken.` : '';
  input.value = '';
  if (sent.length) trigger('upload', { files: sent });
};
input.addEventListener('change', () => send(input.files));
for (const event of ['dragover', 'drop']) drop.addEventListener(event, (moved) => moved.preventDefault());
drop.addEventListener('drop', (moved) => send(moved.dataTransfer.files));
"""


def render(max_upload_bytes: int) -> str:
    """HTML. max_upload_bytes: of each file."""
    # The form around a file needs a few hundred bytes of the request.
    most = max(0, max_upload_bytes - 1_000)
    return (
        f'<label class="drop" data-most="{MOST_FILES}" data-bytes="{most}">Drop files here, or choose them'
        '<input type="file" multiple></label><p role="status"></p>'
    )


def files_of(event: object) -> list[tuple[str, str | None]]:
    """(name, path on the server) of each file that SCRIPT sent; what else a client may send is left out."""
    files: Any = event.get("files") if isinstance(event, dict) else None
    if not isinstance(files, list):
        return []
    pairs = [(file.get("name"), file.get("path")) for file in files[:MOST_FILES] if isinstance(file, dict)]
    return [
        (name[:_MAX_NAME], path if isinstance(path, str) else None) for name, path in pairs if isinstance(name, str)
    ]

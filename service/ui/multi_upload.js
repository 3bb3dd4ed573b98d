// Several files dropped together: sends each in a request of its own, then triggers `upload` with the path of each, or
// null where it could not be sent. Gradio runs this with `element`, `upload` and `trigger`.
const drop = element.querySelector('.drop'), input = drop.querySelector('input');
const status = element.querySelector('[role=status]');
const send = async (chosen) => {
  const files = [...chosen].slice(0, Number(drop.dataset.most)), sent = [];
  for (const file of files) {
    status.textContent = `Sending file ${sent.length + 1} of ${files.length} ...`;
    const small = file.size <= Number(drop.dataset.bytes);
    const path = small ? await upload(file).then((answer) => answer.path, () => null) : null;
    sent.push({ name: file.name, path });
  }
  status.textContent = chosen.length > files.length ? `Only the first ${files.length} were taken.` : '';
  input.value = '';
  if (sent.length) trigger('upload', { files: sent });
};
input.addEventListener('change', () => send(input.files));
for (const event of ['dragover', 'drop']) drop.addEventListener(event, (moved) => moved.preventDefault());
drop.addEventListener('drop', (moved) => send(moved.dataTransfer.files));

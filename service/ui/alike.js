// The map of recordings: a click on one triggers `select` with its number. Gradio runs this with `element` and `trigger`.
let chosen = null;
element.addEventListener('click', (event) => {
  const point = event.target.closest('button[data-number]');
  if (!point) return;
  chosen = point.dataset.number;
  trigger('select', { number: Number(chosen) });
});
// Gradio makes the new map of the old one's buttons: the keyboard moves on to the recording that was chosen.
new MutationObserver(() => {
  const point = element.querySelector('button[aria-pressed=true]');
  if (!point || point.dataset.number !== chosen) return;
  chosen = null;
  if (element.contains(document.activeElement)) point.focus();
}).observe(element, { childList: true, subtree: true, attributes: true });

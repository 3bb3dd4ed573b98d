// The timeline: clicks and arrow keys arrive at a native slider that lies over the picture; the player follows, and
// moves the slider in turn. Gradio runs this with `element`, the HTML component.
const player = () => document.querySelector('#recording audio');
const play = (seconds) => {
  const audio = player();
  if (audio) { audio.currentTime = seconds; audio.play().catch(() => {}); }
};
element.addEventListener('input', (event) => play(Number(event.target.value)));
element.addEventListener('click', (event) => {
  const section = event.target.closest('button[data-start]');
  if (section) play(Number(section.dataset.start));
});
document.addEventListener('timeupdate', (event) => {
  const slider = element.querySelector('input');
  if (slider && event.target === player()) slider.value = event.target.currentTime;
}, true);

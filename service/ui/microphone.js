// The hint that there is no microphone: shown where the browser gives the page none. Gradio runs this with `element`,
// the HTML component.
if (!window.isSecureContext || !navigator.mediaDevices) element.querySelector('.notice').hidden = false;

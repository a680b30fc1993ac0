// Puts what the server draws in the place of what is shown, and leaves open what was open.
"use strict";

const main = document.getElementById("main");
const live = document.getElementById("live");

function keys() {
  const seen = new Map();
  return [...main.querySelectorAll("details")].map((each) => {
    const key = `${each.closest("section")?.id} ${each.className} ${each.dataset.job ?? ""}`;
    const number = seen.get(key) ?? 0;
    seen.set(key, number + 1);
    return [each, `${key} ${number}`];
  });
}

function show({ title, parts }) {
  const open = new Map(keys().map(([each, key]) => [key, each.open]));
  // The server has escaped everything; scripts in parsed text are never run.
  const parsed = new DOMParser().parseFromString(parts, "text/html");
  main.replaceChildren(...parsed.body.childNodes);
  for (const [each, key] of keys()) if (open.has(key)) each.open = open.get(key);
  document.title = title;
  main.dataset.shown = String(Number(main.dataset.shown ?? 0) + 1);
}

let stream = null;
let over = false;

function listen() {
  stream = new EventSource(main.dataset.stream);
  stream.onmessage = (event) => {
    live.textContent = "live";
    show(JSON.parse(event.data));
  };
  stream.addEventListener("end", () => {
    over = true;
    stream.close();
    live.textContent = "";
  });
  stream.onerror = () => {
    live.textContent = stream.readyState === EventSource.CLOSED ? "not live: reload" : "waiting for the server";
  };
}

// A page that nobody sees costs nothing, and takes none of the few connections that a browser has to one server.
function follow() {
  if (document.hidden || over) stream?.close();
  else listen();
}

if (main?.dataset.stream) {
  document.addEventListener("visibilitychange", follow);
  follow();
}

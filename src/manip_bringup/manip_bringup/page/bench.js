// The operator's bench on the page: clutch, emergency stop, episodes. It speaks to the node over a
// line of its own, so that it works whatever the 3D view is busy with.
(() => {
  "use strict";
  const BEAT_MS = 200, RETRY_MS = 500, SILENT_MS = 1500, CONFIRM_MS = 700;
  const KEYS = { KeyG: "engage", KeyX: "release", Escape: "release" };
  const MARKS = [
    ["start", "Start", "Digit1"], ["success", "Success", "Digit2"],
    ["failure", "Failure", "Digit3"], ["discard", "Discard", "Digit4"],
  ];
  let line = null, heardAt = -Infinity, state = {}, held = false, stopWaits = false;
  let touched = false;

  function element(tag, name, text) {
    const made = document.createElement(tag);
    made.className = name;
    if (text) made.textContent = text;
    return made;
  }

  function button(name, text, hint) {
    const made = element("button", name, text);
    made.type = "button";
    if (hint) made.append(element("small", "", hint));
    made.addEventListener("contextmenu", (event) => event.preventDefault());
    return made;
  }

  const bench = element("div", ""), top = element("div", "top"), bottom = element("div", "bottom");
  const card = element("div", "card state"), word = element("div", "word", "…");
  const reason = element("div", "reason"), facts = element("div", "facts");
  const speed = element("span", ""), robot = element("span", ""), driver = element("span", "");
  const warnings = element("div", ""), note = element("div", "card note");
  const stop = button("stop", "STOP", "space bar");
  const engage = button("engage", "Engage", "G");
  const hold = button("hold", "Hold to move", "H, keep pressed");
  const release = button("release", "Release", "X or Esc");
  const reset = button("confirm", "Reset the stop", "keep pressed");
  const recover = button("confirm recover", "Recover arm", "keep pressed");
  const episode = element("div", "card episode"), tape = element("div", "tape");
  const tapeWord = element("b", ""), tapeText = element("span", "");
  const task = element("input", ""), marks = element("div", "marks");
  const idle = element("div", "card idle", "Nothing is recorded: start with record:=FOLDER");
  const clutch = element("div", "row clutch");
  const markButtons = MARKS.map(([name, text, key]) => {
    const made = button(`mark-${name}`, text, key.slice(-1));
    made.addEventListener("click", () => mark(name));
    return made;
  });

  // ---- the line to the node

  function send(message) {
    if (line === null || line.readyState !== WebSocket.OPEN) return false;
    line.send(JSON.stringify(message));
    return true;
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    line = new WebSocket(`${scheme}//${location.host}/bench`);
    line.onopen = () => {
      if (stopWaits && send({ press: "stop" })) stopWaits = false;
      beat();
    };
    line.onmessage = (event) => {
      heardAt = performance.now();
      state = JSON.parse(event.data);
      show();
    };
    line.onclose = () => {
      held = false;
      setTimeout(connect, RETRY_MS);
    };
  }

  // A page that nobody has touched is looked at by somebody, not the operator's. Where nobody looks
  // at it, nobody could press its button: the signs of life end.
  function beat() {
    send({ beat: touched && document.visibilityState === "visible" });
    show();
  }

  function press(name, text) {
    if (name === "engage" && engage.disabled) return;
    const sent = send(text === undefined ? { press: name } : { press: name, text });
    // A stop that could not be sent is sent as soon as there is a line again.
    if (name === "stop") {
      stopWaits = !sent;
      held = false;
    }
  }

  function mark(name) {
    if (!state.episode || !state.episode.bag) return;
    press(name, name === "start" ? task.value : "");
    task.blur();
  }

  function holding(down) {
    if (down === held || (down && (state.stopped || hold.disabled))) return;
    held = down;
    if (!send({ hold: down })) held = false;
    hold.classList.toggle("down", held);
  }

  // ---- fingers and keys

  // At the touch, not when the finger leaves: half a second earlier.
  stop.addEventListener("pointerdown", () => press("stop"));
  engage.addEventListener("click", () => press("engage"));
  release.addEventListener("click", () => press("release"));
  hold.addEventListener("pointerdown", (event) => {
    hold.setPointerCapture(event.pointerId);
    holding(true);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    hold.addEventListener(name, () => holding(false));
  }

  function confirmed(made, name) {
    let timer = 0;
    const down = (is) => {
      clearTimeout(timer);
      made.classList.toggle("down", is);
      if (is) timer = setTimeout(() => { made.classList.remove("down"); press(name); }, CONFIRM_MS);
    };
    made.addEventListener("pointerdown", (event) => {
      made.setPointerCapture(event.pointerId);
      down(true);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      made.addEventListener(end, () => down(false));
    }
  }
  confirmed(reset, "reset_stop");
  confirmed(recover, "recover");

  const writes = (at) => at instanceof HTMLElement &&
    (at.isContentEditable || at.tagName === "TEXTAREA" ||
      (at.tagName === "INPUT" && !["checkbox", "radio", "button"].includes(at.type)));

  function onKey(event, down) {
    const writing = writes(event.target);
    if (event.code === "Space") {
      // The space bar stops, except for who writes while the robot does not follow.
      if (writing && !state.engaged) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (down && !event.repeat) press("stop");
      return;
    }
    if (event.code === "KeyH" && !down) holding(false);
    if (writing) {
      if (down && event.code === "Escape") event.target.blur();
      if (event.code !== "Escape") return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const chosen = MARKS.find(([, , key]) => key === event.code);
    if (event.code === "KeyH") holding(down);
    else if (KEYS[event.code]) { if (down && !event.repeat) press(KEYS[event.code]); }
    else if (chosen) { if (down && !event.repeat) mark(chosen[0]); }
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  for (const name of ["pointerdown", "keydown"]) {
    window.addEventListener(name, () => { touched = true; }, true);
  }
  // Before any other part of the page sees the key.
  window.addEventListener("keydown", (event) => onKey(event, true), true);
  window.addEventListener("keyup", (event) => onKey(event, false), true);
  window.addEventListener("blur", () => holding(false));
  document.addEventListener("visibilitychange", () => { holding(false); beat(); });

  // ---- what is shown

  function put(at, text) {
    if (at.textContent !== text) at.textContent = text;
  }

  function show() {
    const lost = performance.now() - heardAt > SILENT_MS;
    const now = lost
      ? { word: "NO CONNECTION", colour: "#ff6b6b", warnings: [], episode: {},
          reason: stopWaits ? "STOP cannot be sent: use the robot's own emergency stop."
            : heardAt < 0 ? "Connecting …" : "The page hears nothing of the robot." }
      : state;
    bench.classList.toggle("lost", lost);
    bench.style.setProperty("--colour", now.colour);
    put(word, now.word);
    put(reason, now.reason);
    showFacts(now, lost);
    const texts = now.warnings.join("\n");
    if (warnings.dataset.texts !== texts) {
      warnings.dataset.texts = texts;
      warnings.replaceChildren(...now.warnings.map((text) => element("div", "warning", text)));
    }
    put(note, now.note || "");
    note.hidden = !now.note;
    note.classList.toggle("bad", now.good === false);
    stop.firstChild.textContent = now.stopped ? "STOPPED" : "STOP";
    stop.classList.toggle("latched", Boolean(now.stopped));
    engage.classList.toggle("on", Boolean(now.engaged));
    for (const made of [engage, hold, release]) {
      made.hidden = Boolean(now.stopped);
      made.disabled = lost || (made !== release && now.reaches === false);
    }
    reset.hidden = !now.stopped;
    recover.hidden = lost || now.stopped || now.ready !== false;
    showEpisode(now.episode || {}, lost);
  }

  function showFacts(now, lost) {
    facts.hidden = lost;
    speed.hidden = !now.engaged;
    if (!speed.hidden) {
      const bar = speed.querySelector("i");
      bar.style.width = `${Math.round(100 * now.speed)}%`;
      bar.classList.toggle("slow", now.speed < 0.99);
      put(speed.lastChild, `${Math.round(100 * now.speed)} %`);
    }
    robot.hidden = !now.robot;
    robot.classList.toggle("bad", now.ready === false);
    put(robot.lastChild, now.robot || "");
    const who = { you: "this page drives", other: "another page drives" }[now.driver] || "";
    const pages = now.pages > 1 ? `${now.pages} pages are open` : "";
    put(driver, [who, pages].filter(Boolean).join(", "));
  }

  function showEpisode(now, lost) {
    episode.hidden = lost || !now.bag;
    idle.hidden = lost || Boolean(now.bag);
    if (episode.hidden) return;
    const minutes = Math.floor(now.seconds / 60), seconds = String(now.seconds % 60).padStart(2, "0");
    put(tapeWord, now.open ? `● Episode ${minutes}:${seconds}` : "○ No episode");
    tapeWord.classList.toggle("open", now.open);
    const counts = Object.entries(now.counts).map(([name, many]) => `${many} ${name}`);
    const lostTexts = now.lost !== "0" ? [`${now.lost} messages lost`] : [];
    const size = `${Math.round(now.megabytes)} MB`;
    put(tapeText, [size, ...counts, ...lostTexts].join(", "));
    task.placeholder = now.task ? `Again: ${now.task}` : "What is to be done";
    markButtons[0].firstChild.textContent = now.open ? "Restart" : "Start";
  }

  // The bench lies on the 3D view, beside the panel wherever that is docked.
  function place() {
    let box = { left: 0, top: 0, width: innerWidth, height: innerHeight }, area = 0;
    for (const canvas of document.querySelectorAll("canvas")) {
      const at = canvas.getBoundingClientRect();
      if (at.width * at.height > area) { area = at.width * at.height; box = at; }
    }
    for (const side of ["left", "top", "width", "height"]) bench.style[side] = `${box[side]}px`;
  }

  function build() {
    bench.id = "bench";
    speed.append("speed", element("span", "speed"), element("b", ""));
    speed.querySelector(".speed").append(element("i", ""));
    robot.append("arm ", element("b", ""));
    facts.append(speed, robot, driver);
    card.append(word, reason, facts);
    warnings.className = "warnings";
    top.append(card, warnings, note);
    task.type = "text";
    task.maxLength = 200;
    task.setAttribute("aria-label", "What is to be done");
    tape.append(tapeWord, tapeText);
    marks.append(...markButtons);
    episode.append(tape, task, marks);
    clutch.append(stop, engage, hold, release, reset, recover);
    bottom.append(idle, episode, clutch);
    bench.append(top, bottom);
    document.body.append(bench);
    show();
    place();
    setInterval(place, 300);
    addEventListener("resize", place);
    connect();
    setInterval(beat, BEAT_MS);
  }
  document.addEventListener("DOMContentLoaded", build);
})();

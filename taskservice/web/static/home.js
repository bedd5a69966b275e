// Everything is asked for relative to this page, so that it also works below a path prefix.
const byId = (id) => document.getElementById(id);
const root = new URL(".", location.href).href.replace(/\/$/, "");

// The browser knows the address that works from here.
const guessed = document.querySelector("main").dataset.address;
for (const code of [byId("curl"), byId("typescript")]) {
  code.textContent = code.textContent.replaceAll(guessed, root);
}

async function showState() {
  let state = "down";
  let text = "It does not answer";
  try {
    const answer = await fetch("health/ready", { cache: "no-store" });
    const body = await answer.json();
    state = answer.ok ? "ready" : "down";
    text = answer.ok ? "Ready" : body.detail;
  } catch {
    // The text says it already.
  }
  byId("state").dataset.state = state;
  byId("state-text").textContent = text;
}
showState();
setInterval(() => document.hidden || showState(), 10_000);

for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard; // only there on HTTPS and on this machine
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId(button.dataset.copies).textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1500);
  });
}

const token = byId("token")?.textContent;

byId("use-token")?.addEventListener("click", () => sessionStorage.setItem("taskservice-token", token));

async function call(path, options = {}) {
  const answer = await fetch(path, {
    ...options,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${answer.status}: ${body.detail}`);
  return body;
}

// A day is the same day everywhere; a moment is shown in the reader's time zone.
function timeElement(due) {
  const isDay = due.length === "2030-01-31".length;
  const time = document.createElement("time");
  time.dateTime = due;
  const styles = isDay ? { dateStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  time.textContent = new Date(isDay ? `${due}T00:00` : due).toLocaleString(navigator.language, styles);
  return time;
}

function row(task) {
  const line = document.createElement("li");
  line.dataset.status = task.status;
  const title = document.createElement("span");
  title.textContent = task.title;
  const facts = document.createElement("small");
  facts.textContent = `${task.status.replace("_", " ")} · ${task.priority}`;
  if (task.due_date) facts.append(" · due ", timeElement(task.due_date));
  line.append(title, facts);
  return line;
}

byId("make-tasks")?.addEventListener("click", async (event) => {
  const outcome = byId("outcome");
  event.target.disabled = true;
  try {
    const { results } = await call("api/tasks/batch", { method: "POST", body: event.target.dataset.batch });
    const tasks = await call("api/tasks?sort=-created&limit=6");
    outcome.textContent = `Made ${results.length} tasks. GET /api/tasks?sort=-created&limit=6 answers:`;
    byId("tasks").replaceChildren(...tasks.map(row));
    byId("tasks").hidden = false;
  } catch (error) {
    outcome.textContent = `That did not work. ${error.message}`;
  } finally {
    outcome.hidden = false;
    event.target.disabled = false;
  }
});

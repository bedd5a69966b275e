// A small front end on the hooks of docs/frontend.md. Tests drive it by its buttons and read what it shows.
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";
import { Conflict, connect, type Task } from "./frontend.js";
import { keepQueue, useCreateTask, useEditTask, useRemoveTask, useTasks } from "./hooks.js";

const { api, token } = JSON.parse(decodeURIComponent(location.hash.slice(1))) as { api: string; token: string };
const call = connect(api, async () => token);
const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
keepQueue(client, call);
let renders = 0;

function Tasks() {
  const tasks = useTasks(call, "", 300);
  const editing = useEditTask(call);
  const removing = useRemoveTask(call);
  const creating = useCreateTask();
  renders += 1;
  const rename = (task: Task) => editing.mutate({ task, fields: { title: `${task.title}!` } });
  return (
    <main>
      <button id="create" onClick={() => creating.mutate({ fields: { title: "New" }, key: crypto.randomUUID() })}>
        Create
      </button>
      {removing.data && <button id="undo" onClick={() => void removing.data?.()}>Undo</button>}
      <output id="conflict">{editing.error instanceof Conflict ? editing.error.theirs.title : ""}</output>
      <output id="renders">{renders}</output>
      <ul>
        {tasks.data?.tasks.map((task) => (
          <li key={task.id}>
            <span>{task.title}</span>
            <button className="rename" onClick={() => rename(task)}>Rename</button>
            <button className="remove" onClick={() => removing.mutate(task)}>Remove</button>
          </li>
        ))}
      </ul>
    </main>
  );
}

createRoot(document.getElementById("app")!).render(
  <QueryClientProvider client={client}>
    <Tasks />
  </QueryClientProvider>,
);

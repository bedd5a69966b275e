// A small front end on the hooks of docs/frontend.md. Tests drive it by its buttons and read what it shows.
import { QueryClientProvider } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { type Call, Conflict, type Task } from "./frontend.js";
import { signedIn, useCreateTask, useEditTask, useRemoveTask, useTasks } from "./hooks.js";

interface User { name: string; token: string }

const { origin, users } = JSON.parse(decodeURIComponent(location.hash.slice(1))) as { origin: string; users: [User, User] };
// As a library for signing in has it: one session, whoever asks for its token.
let current = users[0];
let renders = 0;

function Tasks({ call }: { call: Call }) {
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

function App() {
  const [user, setUser] = useState(users[0]);
  const { client, call, signOut } = useMemo(() => signedIn(origin, user.name, async () => current.token), [user]);
  const other = user === users[0] ? users[1] : users[0];
  const change = () => {
    signOut();
    current = other;
    setUser(other);
  };
  return (
    <>
      <button id="switch" onClick={change}>Sign in as the other user</button>
      <QueryClientProvider client={client} key={user.name}>
        <Tasks call={call} />
      </QueryClientProvider>
    </>
  );
}

createRoot(document.getElementById("app")!).render(<App />);

// A small front end on the hooks of docs/frontend.md. Tests drive it by its buttons and read what it shows.
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { type Call, Conflict, type Task } from "./frontend";
import { useCreateTask, useEditTask, useRemoveTask, useSignedIn, useTasks } from "./hooks";

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

function SignedIn({ user }: { user: User }) {
  const { client, call } = useSignedIn(origin, user.name, async () => current.token);
  return (
    <QueryClientProvider client={client}>
      <Tasks call={call} />
    </QueryClientProvider>
  );
}

function App() {
  const [user, setUser] = useState(users[0]);
  const other = user === users[0] ? users[1] : users[0];
  const change = () => {
    current = other;
    setUser(other);
  };
  return (
    <>
      <button id="switch" onClick={change}>Sign in as the other user</button>
      <SignedIn user={user} key={user.name} />
    </>
  );
}

createRoot(document.getElementById("app")!).render(<StrictMode><App /></StrictMode>);

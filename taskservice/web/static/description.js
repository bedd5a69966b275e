// The API's description, with the address in it that this page was loaded from: behind a proxy it is the one that works.
async function readDescription() {
  const answer = await fetch("openapi.json");
  const description = await answer.json();
  description.servers = [{ url: new URL("..", location.href).href.replace(/\/$/, "") }];
  return description;
}

// Left there by the page at `/`, for this tab only.
const readToken = () => sessionStorage.getItem("taskservice-token");

// Takes many tasks away at once. Stands last among the operations of its tag, where nobody clicks it by chance.
const takesMany = (method, path) => method.toLowerCase() === "delete" && !path.includes("{task_id}");

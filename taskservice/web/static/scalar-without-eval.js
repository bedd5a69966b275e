// Scalar's validator compiles code as it runs, if it may; the page's policy forbids that, and reports every attempt.
globalThis.__zod_globalConfig = { jitless: true };

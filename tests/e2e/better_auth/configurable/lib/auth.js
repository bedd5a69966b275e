// A Better Auth server whose options come as JSON in OPTIONS, for what the recipes do not show.
import { betterAuth } from "better-auth";
import { bearer, jwt } from "better-auth/plugins";
import { Pool } from "pg";

const { plugin, payload, subject, ...options } = JSON.parse(process.env.OPTIONS);

/** What was sent by e-mail. */
export const mails = [];

if (payload === "empty") plugin.jwt = { ...plugin.jwt, definePayload: () => ({}) };
if (subject === "email") plugin.jwt = { ...plugin.jwt, getSubject: ({ user }) => user.email };

export const auth = betterAuth({
  database: new Pool({ connectionString: process.env.DATABASE_URL }),
  emailAndPassword: { enabled: true },
  emailVerification: {
    sendOnSignUp: true,
    sendVerificationEmail: async ({ user, url, token }) => void mails.push({ to: user.email, url, token }),
  },
  user: { deleteUser: { enabled: true }, changeEmail: { enabled: true } },
  plugins: [bearer(), ...(plugin ? [jwt(plugin)] : [])],
  telemetry: { enabled: false },
  ...options,
});

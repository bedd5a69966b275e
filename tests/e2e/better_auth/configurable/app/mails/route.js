import { mails } from "@/lib/auth";

export const GET = () => Response.json(mails);

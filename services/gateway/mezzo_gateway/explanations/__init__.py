"""Why frameworks are offered what they are, and what tasks wait for, in sentences that clients show. Pure."""

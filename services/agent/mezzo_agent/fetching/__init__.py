"""What a command's URIs name: fetched, cached, unpacked into the sandbox, with limits and a task's rights."""

"""What happened to models reaches people: web addresses, chat, mail, a command; one module for each kind of channel."""

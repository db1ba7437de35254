"""Published collections of networks whose index says what they are."""

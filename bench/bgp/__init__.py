"""What BGP costs: processor, memory and time of the speaker and of its engine."""

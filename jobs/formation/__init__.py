"""Formation: form responses become measurement events, measurement events become scored observations."""

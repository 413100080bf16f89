"""What a token costs: operators' overrides first, then the list prices of the genai-prices package."""

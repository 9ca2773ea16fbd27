"""What a hardware description and an ADC law must say."""

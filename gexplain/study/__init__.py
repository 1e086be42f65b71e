"""The study of explanations: samples, what every method says of them, metrics, tables; resumable."""

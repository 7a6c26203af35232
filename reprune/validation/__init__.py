"""Whether the data is fit to learn from, before anything is computed: `reprune.data.validation.validate.validate`."""

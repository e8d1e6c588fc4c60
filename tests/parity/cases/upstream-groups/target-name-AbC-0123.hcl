target "AbC-0123" {}

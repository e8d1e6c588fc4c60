target "AbC" {}

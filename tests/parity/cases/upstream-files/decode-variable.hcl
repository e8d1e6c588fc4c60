variable {}
target "default" {}

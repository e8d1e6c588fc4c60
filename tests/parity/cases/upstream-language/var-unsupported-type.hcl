variable "L" { default = [] }
target "default" {}

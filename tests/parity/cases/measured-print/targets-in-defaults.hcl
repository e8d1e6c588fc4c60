variable "V" { default = target.default.name }
target "default" {}

variable "V" { default = "first" }
variable "V" { description = "second" }
target "default" { args = { V = "<${V}>" } }

variable "A" { default = upper("${BASE}x") }
variable "B" { default = "<${A}>" }
target "default" { args = { one = B } }

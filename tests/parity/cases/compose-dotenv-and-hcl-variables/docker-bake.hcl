variable "V" { default = "d" }
target "a" { args = {V = V} }

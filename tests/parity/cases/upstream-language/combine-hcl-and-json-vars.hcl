variable "A" { default = "a" }
variable "B" { default = "" }
group "default" { targets = ["one"] }
target "one" { args = { a = "1-${A}" } }
target "two" { args = { b = "2-${B}" } }

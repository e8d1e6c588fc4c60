group "g" { targets = [] }

package jaeger

// ownProcess reads the process inside a span.
func (d *JSON) ownProcess(p *spanParts) error {
	n := len(d.processes)
	if err := d.process(""); err != nil {
		return err
	}
	if len(d.processes) > n {
		own := &d.processes[n]
		p.span.Service = own.service
		p.span.Attrs = append(p.span.Attrs, own.attrs...)
		d.processes = d.processes[:n]
	}
	return nil
}

// process reads {"serviceName": …, "tags": []} under an id.
func (d *JSON) process(id string) error {
	if len(d.processes) < cap(d.processes) {
		d.processes = d.processes[:len(d.processes)+1]
	} else {
		d.processes = append(d.processes, process{})
	}
	p := &d.processes[len(d.processes)-1]
	*p = process{id: id, attrs: p.attrs[:0]}
	return d.scan.Members(func(key string) error {
		if key == "tags" {
			return d.tags(&p.attrs)
		}
		v, err := d.scan.Value()
		if key == "serviceName" {
			p.service = v.Text
		}
		return err
	})
}

// processMap reads {"p1": {…}, …}, or the list of {"processId", "process"} that a model's trace has.
func (d *JSON) processMap() error {
	if d.scan.Peek() != '[' {
		return d.scan.Members(d.process)
	}
	return d.scan.List(func() error {
		id, n := "", len(d.processes)
		err := d.scan.Members(func(key string) error {
			if key == "process" {
				return d.process("")
			}
			v, err := d.scan.Value()
			if key == "processId" || key == "processID" {
				id = v.Text
			}
			return err
		})
		if len(d.processes) > n {
			d.processes[n].id = id
		}
		return err
	})
}

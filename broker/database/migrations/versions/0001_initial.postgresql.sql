CREATE TABLE access_line (
    visit BIGINT NOT NULL,
    n INTEGER NOT NULL,
    at BIGINT NOT NULL,
    act VARCHAR NOT NULL,
    document_id UUID,
    PRIMARY KEY (visit, n)
);

CREATE TABLE attempt (
    delivery_id BIGINT NOT NULL,
    number SMALLINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome VARCHAR,
    answer_code VARCHAR,
    answer_matched BOOLEAN,
    latency_us INTEGER,
    peer VARCHAR,
    sent_digest BIGINT,
    answer BYTEA,
    PRIMARY KEY (delivery_id, number)
)
 PARTITION BY RANGE (delivery_id);

CREATE TABLE audit_entry (
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    act VARCHAR NOT NULL,
    actor_kind VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    actor_snapshot TEXT,
    mode VARCHAR,
    motive VARCHAR,
    patient BIGINT,
    subject VARCHAR NOT NULL,
    decision VARCHAR,
    outcome VARCHAR,
    software VARCHAR,
    control_id VARCHAR,
    details TEXT,
    PRIMARY KEY (n)
)
 PARTITION BY RANGE (n);

CREATE INDEX ix_audit_act ON audit_entry (act, n DESC) WHERE actor_kind <> 'machine';

CREATE INDEX ix_audit_actor ON audit_entry (actor, n DESC) WHERE actor_kind <> 'machine';

CREATE INDEX ix_audit_patient ON audit_entry (patient, n DESC) WHERE actor_kind <> 'machine';

CREATE INDEX ix_audit_subject ON audit_entry (subject);

CREATE TABLE audit_seal (
    segment BIGINT NOT NULL,
    from_n BIGINT NOT NULL,
    to_n BIGINT NOT NULL,
    entries INTEGER NOT NULL,
    digests BYTEA NOT NULL,
    previous_head BYTEA NOT NULL,
    head BYTEA NOT NULL,
    sealed_at BIGINT NOT NULL,
    PRIMARY KEY (segment)
);

CREATE TABLE business_key (
    digest BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    key_version SMALLINT NOT NULL,
    PRIMARY KEY (digest, seq)
)
 PARTITION BY RANGE (seq);

CREATE TABLE consent_event (
    patient BIGINT NOT NULL,
    n INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    scope VARCHAR DEFAULT '' NOT NULL,
    value VARCHAR NOT NULL,
    by VARCHAR NOT NULL,
    on_behalf_of VARCHAR,
    channel VARCHAR NOT NULL,
    text_version VARCHAR,
    at BIGINT NOT NULL,
    message_seq BIGINT,
    PRIMARY KEY (patient, n)
);

CREATE TABLE content (
    sha256 BYTEA NOT NULL,
    sha1 BYTEA NOT NULL,
    size INTEGER NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (sha256)
);

CREATE TABLE control (
    key BIGINT NOT NULL,
    digest BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (key, digest, seq)
)
 PARTITION BY RANGE (seq);

CREATE TABLE counter (
    name VARCHAR NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE decision (
    id VARCHAR NOT NULL,
    at BIGINT NOT NULL,
    patient BIGINT NOT NULL,
    subject VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    actor TEXT NOT NULL,
    allowed BOOLEAN NOT NULL,
    rule VARCHAR NOT NULL,
    rules_version VARCHAR NOT NULL,
    matrix_version VARCHAR NOT NULL,
    consent_version INTEGER NOT NULL,
    mapping_set VARCHAR,
    decoy BOOLEAN NOT NULL,
    inputs TEXT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_decision_patient ON decision (patient, at);

CREATE INDEX ix_decision_subject ON decision (subject);

CREATE TABLE delivery (
    id BIGINT NOT NULL,
    message_seq BIGINT NOT NULL,
    document_id UUID,
    destination VARCHAR NOT NULL,
    recipient VARCHAR DEFAULT '' NOT NULL,
    intent VARCHAR NOT NULL,
    lane BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    next_try_at BIGINT,
    attempts SMALLINT DEFAULT '0' NOT NULL,
    reason VARCHAR,
    reason_place VARCHAR,
    answer_code VARCHAR,
    ins_used VARCHAR,
    hops SMALLINT DEFAULT '0' NOT NULL,
    PRIMARY KEY (id)
)
 PARTITION BY RANGE (id);

CREATE INDEX ix_delivery_message ON delivery (message_seq);

CREATE INDEX ix_delivery_open ON delivery (destination, lane, id) WHERE settled_at IS NULL;

CREATE TABLE destination_now (
    destination VARCHAR NOT NULL,
    delivered_at BIGINT,
    error_code VARCHAR,
    error_at BIGINT,
    circuit VARCHAR DEFAULT 'closed' NOT NULL,
    consecutive_failures INTEGER DEFAULT '0' NOT NULL,
    heartbeat_at BIGINT,
    PRIMARY KEY (destination)
);

CREATE TABLE document (
    id UUID NOT NULL,
    patient BIGINT NOT NULL,
    series BIGINT NOT NULL,
    unique_key BIGINT,
    set_key BIGINT,
    version_number INTEGER,
    kind VARCHAR NOT NULL,
    type_code VARCHAR,
    type_system VARCHAR,
    class_code VARCHAR,
    category VARCHAR,
    status VARCHAR NOT NULL,
    availability VARCHAR NOT NULL,
    replaces UUID,
    sort_at BIGINT NOT NULL,
    filed_at BIGINT NOT NULL,
    visible_from BIGINT,
    masked_ps BOOLEAN NOT NULL,
    hidden_from_reps BOOLEAN NOT NULL,
    confidentiality VARCHAR NOT NULL,
    deposited_by VARCHAR NOT NULL,
    author TEXT,
    author_ids TEXT,
    media VARCHAR,
    size INTEGER NOT NULL,
    pages INTEGER,
    content_sha256 BYTEA,
    message_seq BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_document_class ON document (patient, class_code, sort_at DESC);

CREATE INDEX ix_document_message ON document (message_seq);

CREATE INDEX ix_document_set ON document (set_key) WHERE set_key IS NOT NULL;

CREATE INDEX ix_document_sort ON document (patient, sort_at DESC);

CREATE INDEX ix_document_unique ON document (unique_key) WHERE unique_key IS NOT NULL;

CREATE INDEX ix_document_visible ON document (patient, visible_from DESC);

CREATE TABLE document_payload (
    id UUID NOT NULL,
    encoding VARCHAR NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE flow_day (
    source VARCHAR NOT NULL,
    slot INTEGER NOT NULL,
    measure VARCHAR NOT NULL,
    writer VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (source, slot, measure, writer)
);

CREATE TABLE flow_minute (
    source VARCHAR NOT NULL,
    slot INTEGER NOT NULL,
    measure VARCHAR NOT NULL,
    writer VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (source, slot, measure, writer)
);

CREATE INDEX ix_flow_minute_slot ON flow_minute (slot);

CREATE TABLE flow_quarter (
    source VARCHAR NOT NULL,
    slot INTEGER NOT NULL,
    measure VARCHAR NOT NULL,
    writer VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (source, slot, measure, writer)
);

CREATE INDEX ix_flow_quarter_slot ON flow_quarter (slot);

CREATE TABLE lane (
    kind VARCHAR NOT NULL,
    destination VARCHAR NOT NULL,
    lane BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    head_seq BIGINT NOT NULL,
    since BIGINT NOT NULL,
    next_try_at BIGINT,
    attempts SMALLINT DEFAULT '0' NOT NULL,
    reason VARCHAR,
    held_by VARCHAR,
    hold_reason VARCHAR,
    PRIMARY KEY (kind, destination, lane)
);

CREATE TABLE message (
    seq BIGINT NOT NULL,
    id UUID NOT NULL,
    source VARCHAR NOT NULL,
    received_at BIGINT NOT NULL,
    answered_at BIGINT,
    day INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    answer_code VARCHAR,
    format VARCHAR NOT NULL,
    media VARCHAR,
    type VARCHAR,
    version VARCHAR,
    charset_declared VARCHAR,
    charset_used VARCHAR,
    size INTEGER NOT NULL,
    sha256 BYTEA NOT NULL,
    digest BIGINT NOT NULL,
    control_id VARCHAR,
    sender VARCHAR,
    peer VARCHAR,
    transport_keys TEXT,
    lane BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    state_since BIGINT NOT NULL,
    reason VARCHAR,
    reason_place VARCHAR,
    reason_args TEXT,
    person BIGINT,
    mapping_set VARCHAR,
    engine VARCHAR,
    rules_version VARCHAR,
    attempts SMALLINT DEFAULT '0' NOT NULL,
    next_try_at BIGINT,
    parent BIGINT,
    duplicate_of BIGINT,
    conflicts_with BIGINT,
    edited_from BIGINT,
    replay_of BIGINT,
    answers BIGINT,
    trail TEXT,
    PRIMARY KEY (seq)
)
 PARTITION BY RANGE (seq);

CREATE INDEX ix_message_id ON message (id);

CREATE INDEX ix_message_lane ON message (lane, seq) WHERE state < 10;

CREATE INDEX ix_message_open ON message (state, source, seq) WHERE state < 10;

CREATE INDEX ix_message_reason ON message (reason, seq) WHERE reason IS NOT NULL;

CREATE INDEX ix_message_source ON message (source, seq);

CREATE TABLE message_body (
    seq BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (seq)
)
 PARTITION BY RANGE (seq);

CREATE TABLE patient (
    id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    account VARCHAR DEFAULT 'open_unactivated' NOT NULL,
    account_since BIGINT NOT NULL,
    consent_version INTEGER DEFAULT '0' NOT NULL,
    traits BYTEA NOT NULL,
    merged_into BIGINT,
    PRIMARY KEY (id)
);

CREATE TABLE patient_identifier (
    system VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    patient BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (system, value)
);

CREATE INDEX ix_patient_identifier_patient ON patient_identifier (patient);

CREATE TABLE prepared (
    delivery_id BIGINT NOT NULL,
    media VARCHAR NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (delivery_id)
)
 PARTITION BY RANGE (delivery_id);

CREATE TABLE source_now (
    source VARCHAR NOT NULL,
    writer VARCHAR NOT NULL,
    received_at BIGINT,
    answered_at BIGINT,
    error_code VARCHAR,
    error_at BIGINT,
    connections INTEGER DEFAULT '0' NOT NULL,
    heartbeat_at BIGINT,
    PRIMARY KEY (source, writer)
);

CREATE TABLE tally_day (
    day INTEGER NOT NULL,
    source VARCHAR NOT NULL,
    fate VARCHAR NOT NULL,
    writer VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (day, source, fate, writer)
);

CREATE TABLE visit (
    id BIGINT NOT NULL,
    patient BIGINT NOT NULL,
    actor_kind VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    actor_snapshot TEXT NOT NULL,
    structure VARCHAR,
    mode VARCHAR NOT NULL,
    motive VARCHAR,
    started BIGINT NOT NULL,
    ended BIGINT,
    listed INTEGER NOT NULL,
    read INTEGER NOT NULL,
    first_of_actor BOOLEAN NOT NULL,
    shown_to VARCHAR NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_visit_actor ON visit (patient, actor);

CREATE INDEX ix_visit_patient ON visit (patient, started DESC);

ALTER TABLE message_body ALTER COLUMN body SET COMPRESSION lz4;

ALTER TABLE prepared ALTER COLUMN body SET COMPRESSION lz4;

ALTER TABLE message ALTER COLUMN trail SET COMPRESSION lz4;

ALTER TABLE document_payload ALTER COLUMN payload SET STORAGE EXTERNAL;

ALTER TABLE content ALTER COLUMN body SET STORAGE EXTERNAL;
